-- heartbeat: a worker's sign of life, and what it asks for every few seconds. A script, so that it may be given with full
-- memory: a worker that seems dead then loses its audit entries to others, and nobody takes over those of the really dead.
-- KEYS 1 workers HASH   2 audit STREAM   3 continuity STRING   4 fence counter   5 listeners SET   6 paused HASH
--      7 audit STREAM of the version before
-- ARGV 1 worker   2 its description (JSON object), to which the time is added   3 consumer group of the audit
--      4 1 where this worker gave a sign of life before
-- →    { now, list of names of the groups' consumers, flat list of worker, description, flat list of paused listener, pause }
--
-- Where the mark of continuity is missing, Redis has lost its data while this worker lived, or was never worked with; or the
-- workers were of a version that made no mark, and what they worked with is there.
local wrong = mistyped(1, { 'hash', 'stream' })
if wrong then return redis.error_reply(wrong) end
allow_when_full(KEYS[1])
local now = clock()
redis.call('HSET', KEYS[1], ARGV[1], string.sub(ARGV[2], 1, -2) .. string.format(',"visto":%d}', now))
local consumers = {}
-- Without the group or the stream, as before the first event, there are none.
for _, stream in ipairs({ KEYS[2], KEYS[7] }) do
  local found = redis.pcall('XINFO', 'CONSUMERS', stream, ARGV[3])
  for _, fields in ipairs(found.err and {} or found) do
    for at = 1, #fields, 2 do
      if fields[at] == 'name' then consumers[#consumers + 1] = fields[at + 1] end
    end
  end
end
if redis.call('EXISTS', KEYS[3]) == 0 then
  local whole = ARGV[4] ~= '1' and redis.call('EXISTS', KEYS[4], KEYS[5]) > 0
  redis.call('SET', KEYS[3], string.format('{"v":1,"desde":%d}', whole and 0 or now))
end
local paused = redis.pcall('HGETALL', KEYS[6])
return { now, consumers, redis.call('HGETALL', KEYS[1]), paused.err and {} or paused }
