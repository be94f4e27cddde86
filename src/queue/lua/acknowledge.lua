-- acknowledge: forget audit events that are safe in the backend.
-- KEYS 1 audit STREAM   ARGV 1 group   2… stream ids in their order, at most 1000 a call
--
-- Both at once: an entry that is acknowledged but not deleted would stay for good. Where nothing before the last of them is
-- still on its way to the backend, all that is older goes in one piece: XDEL looks each entry up, which took longer than
-- writing it. Entries that the group does not know (it was destroyed and made anew) say nothing about those before them.
local group = table.remove(ARGV, 1)
local last = ARGV[#ARGV]
local known = redis.call('XACK', KEYS[1], group, unpack(ARGV)) == #ARGV

-- Stream ids are compared as the pair of numbers that they are.
local function parts(id)
  local time, sequence = string.match(id, '^(%d+)-(%d+)$')
  return tonumber(time), tonumber(sequence)
end

if known then
  local time, sequence = parts(last)
  local oldest = redis.call('XPENDING', KEYS[1], group)[2]
  local other_time, other_sequence
  if oldest then other_time, other_sequence = parts(oldest) end
  if not oldest or other_time > time or (other_time == time and other_sequence > sequence) then
    redis.call('XTRIM', KEYS[1], 'MINID', '=', string.format('%d-%d', time, sequence + 1))
    return
  end
  redis.call('XTRIM', KEYS[1], 'MINID', '=', oldest)
end
redis.call('XDEL', KEYS[1], unpack(ARGV))
