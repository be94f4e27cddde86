-- look: tell where there may be something to do, for a worker that sleeps.
-- KEYS 1 dispatch lease HASH  2 audit STREAM  3 inbox LIST  4 dispatching LIST  5 delayed ZSET  6 fan-out LIST
--      then five for each lane: queue LIST, its front LIST, what was put aside of it (or the queue again), in flight ZSET, retries ZSET
-- →    { now, audit events that wait, 1 when there is something to dispatch, then for each lane 1 when there may be something to claim }
--
-- Once a second and worker: where nothing waits at all, which is most of the time, one command finds that out.
-- It writes, like what it stands for, so that a worker on a server that became a replica hears of it.
local wrong = mistyped(1, { 'hash', 'stream', 'list', 'list', 'zset', 'list' })
if wrong then return redis.error_reply(wrong) end
allow_when_full(KEYS[1])
local now = clock()
local answer = { now, redis.call('XLEN', KEYS[2]), 0 }
local quiet = redis.call('EXISTS', unpack(KEYS, 3)) == 0

-- A key that somebody made something else of is for `take` and `claim` to tell.
local function due(key)
  local count = redis.pcall('ZCOUNT', key, '-inf', now)
  return type(count) ~= 'number' or count > 0
end

if not quiet and (redis.call('EXISTS', KEYS[3], KEYS[4], KEYS[6]) > 0 or due(KEYS[5])) then answer[3] = 1 end
for k = 7, #KEYS, 5 do
  local found = not quiet and (redis.call('EXISTS', KEYS[k], KEYS[k + 1], KEYS[k + 2]) > 0 or due(KEYS[k + 3]) or due(KEYS[k + 4]))
  answer[#answer + 1] = found and 1 or 0
end
return answer
