-- heartbeat: a worker's sign of life, and what it asks for every few seconds. A script, so that it may be given with full
-- memory: nobody is to take a worker for dead that frees it.
-- KEYS 1 workers HASH   2 continuity STRING   3 fence counter   4 listeners SET   5 paused HASH
-- ARGV 1 worker   2 its description (JSON object), to which the time is added
--      3 1 where this worker gave a sign of life before
-- →    { now, flat list of worker, description, flat list of paused listener, pause, the mark of continuity ('' where it has none) }
--
-- Where the mark of continuity is missing, Redis has lost its data while this worker lived, or was never worked with; or the
-- workers were of a version that made no mark, and what they worked with is there.
local wrong = mistyped(1, { 'hash' })
if wrong then return redis.error_reply(wrong) end
allow_when_full(KEYS[1])
local now = clock()
redis.call('HSET', KEYS[1], ARGV[1], string.sub(ARGV[2], 1, -2) .. string.format(',"visto":%d}', now))
local mark = redis.pcall('GET', KEYS[2])
if not mark then
  local whole = ARGV[3] ~= '1' and redis.call('EXISTS', KEYS[3], KEYS[4]) > 0
  mark = string.format('{"v":1,"desde":%d}', whole and 0 or now)
  redis.call('SET', KEYS[2], mark)
end
local paused = redis.pcall('HGETALL', KEYS[5])
return { now, redis.call('HGETALL', KEYS[1]), paused.err and {} or paused, type(mark) == 'string' and mark or '' }
