-- sift: walk through a lane's list from its head, a slice a call, and give up those deliveries that are named.
-- KEYS 1 maintenance lock  2 remaining HASH  3 audit STREAM  4 queue LIST  5 front LIST  6 deliveries HASH
-- ARGV 1 the lock's value  2 message key prefix  3 reason  4 length of the slice  5 its last id, as it was read before
--      then for each delivery of the slice that is to go: id, number, version (as the audit knows them), event (JSON)
-- →    { how many were walked over, how many of them were given up }; { 0, 0 } when the slice is not as it was; { -1 } when the lock was lost
--
-- Taking ids out of the middle of a list costs its length, each time: a million of them held Redis for half a minute. What
-- stays is moved to the end of the front instead, which claims take from first: the order is the same all the time.
local audit, queue, front, deliveries = KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local wrong = mistyped(1, { 'string', 'hash', 'stream', 'list', 'list', 'hash' })
if wrong then return redis.error_reply(wrong) end
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return { -1 } end
local now = clock()
allow_when_full(KEYS[2])

local ids = redis.call('LRANGE', queue, 0, tonumber(ARGV[4]) - 1)
local count = 0
for i, id in ipairs(ids) do
  if id == ARGV[5] then count = i end
end
local gone = {}
for at = 6, #ARGV, 4 do gone[ARGV[at]] = at end
local kept, given_up = {}, 0
for i = 1, count do
  local id = ids[i]
  local at = gone[id]
  if at then
    local _, held_number, _, held_version = read_state(deliveries, id)
    local version, number = math.max(tonumber(ARGV[at + 2]), held_version), math.max(tonumber(ARGV[at + 1]), held_number)
    tell(audit, 's', now, ARGV[at + 3], state_text('descartada', next_version(version, now), number, nil, ARGV[3]))
    redis.call('HDEL', deliveries, id)
    release_body(KEYS[2], ARGV[2], id)
    given_up = given_up + 1
  else
    kept[#kept + 1] = id
  end
end
if count > 0 then redis.call('LTRIM', queue, count, -1) end
if #kept > 0 then redis.call('RPUSH', front, unpack(kept)) end
return { count, given_up }
