-- stretch: which part of an audit stream is written into the backend, and by whom. Several readers share a stream without a
-- consumer group: the list of what was handed out, entry by entry, cost Redis more than twice what reading and removing costs.
-- KEYS 1 stretches HASH id of the last entry → `after|until|reader`, until ms, 0 free, -1 written   2 audit STREAM
-- ARGV 1 take | keep | hold | written   2 reader   3 ms to hold it for from now on, 0 = no longer
--      4 take: entries that are a whole batch; else: last id of the stretch   5 keep: the last id that the reader takes of it, and leaves the rest
-- →    take: { after, last id, 0 nobody had taken it before, 1 somebody had, 2 and the time of that other reader has run out },
--      or {}: there is nothing to write
--      else: 1 done, 0 the stretch is this reader's no more, and nothing was done
--
-- What is less than a batch is left to whoever has just taken a stretch, and will soon ask for the next: readers that took turns every
-- few entries would each begin deliveries that another ends, which costs the backend twice as much. One that is slow is not waited for.
--
-- Each stretch begins behind the end of the one before it, the lowest at the beginning of the stream: as soon as the lowest
-- are written, all up to their end goes in one piece. It is noted before it is read, so that wherever the note is, the
-- entries are too: a failover in between cannot make a note cover what nobody has read.
-- A stretch that ends behind the newest entry is of a stream that is gone. Then, or with notes that are not understood, all
-- are forgotten, and what is there is read from the beginning: to write an event again changes nothing.
local wrong = mistyped(1, { 'hash', 'stream' })
if wrong then return redis.error_reply(wrong) end
allow_when_full(KEYS[1])
local WRITTEN = -1
-- A stretch is written in less, ms.
local SLOW = 1000
local action, reader, hold = ARGV[1], ARGV[2], tonumber(ARGV[3])
local now = clock()

local function stretch_of(id, note)
  local time, sequence = string.match(id, '^(%d+)-(%d+)$')
  local after, till, holder = string.match(note, '^(%d+%-%d+)|(-?%d+)|(.*)$')
  if not time or not after then return nil end
  return { last = id, time = tonumber(time), sequence = tonumber(sequence), after = after, till = tonumber(till), reader = holder }
end

local function is_before(one, other)
  return one.time < other.time or (one.time == other.time and one.sequence < other.sequence)
end

local function note(id, after, till, holder)
  redis.call('HSET', KEYS[1], id, string.format('%s|%d|%s', after, till, holder))
end

local newest = redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', 1)[1]
newest = newest and stretch_of(newest[1], '0-0|0|')
local stretches, valid = {}, true
local noted = redis.call('HGETALL', KEYS[1])
for i = 1, #noted, 2 do
  local stretch = stretch_of(noted[i], noted[i + 1])
  if not stretch or not newest or is_before(newest, stretch) then valid = false else stretches[#stretches + 1] = stretch end
end
if not valid then
  redis.call('DEL', KEYS[1])
  stretches = {}
end
table.sort(stretches, is_before)
local highest = stretches[#stretches]

if action == 'take' then
  local batch = tonumber(ARGV[4])
  local busy = false
  for _, each in ipairs(stretches) do
    -- A reader writes one stretch at a time: if it asks for another, it does not know of this one, or failed to say what became of it.
    -- One that is held for longer than any can be is from before Redis's clock was put back.
    if each.till ~= WRITTEN and (each.till <= now or each.till > now + hold or each.reader == reader) then
      note(each.last, each.after, now + hold, reader)
      return { each.after, each.last, (each.reader ~= '' and each.reader ~= reader) and 2 or 1 }
    end
    if each.till - hold > now - SLOW then busy = true end
  end
  if busy and redis.call('XLEN', KEYS[2]) < batch * (#stretches + 1) then return {} end
  local after = highest and highest.last or '0-0'
  if not newest or newest.last == after then return {} end
  note(newest.last, after, now + hold, reader)
  return { after, newest.last, 0 }
end

local last, read = ARGV[4], ARGV[5]
local own
for _, each in ipairs(stretches) do
  if each.last == last and each.reader == reader then own = each end
end
if not own then return 0 end

if action == 'keep' then
  note(read, own.after, own.till, reader)
  -- The rest of the highest one is again what nobody has taken, together with what has come since.
  if own == highest then redis.call('HDEL', KEYS[1], last) else note(last, read, 0, '') end
elseif action == 'hold' then
  note(last, own.after, hold > 0 and now + hold or 0, hold > 0 and reader or '')
elseif own ~= stretches[1] then
  note(last, own.after, WRITTEN, '')
else
  own.till = WRITTEN
  local through
  for _, each in ipairs(stretches) do
    if each.till ~= WRITTEN then break end
    redis.call('HDEL', KEYS[1], each.last)
    through = each
  end
  redis.call('XTRIM', KEYS[2], 'MINID', '=', string.format('%d-%d', through.time, through.sequence + 1))
end
return 1
