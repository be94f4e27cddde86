-- discard: give deliveries up for good, audited.
-- KEYS 1 maintenance lock  2 remaining HASH  3 audit STREAM  4 fan-out LIST, as in dispatch
--      then eight for each lane, as in claim
-- ARGV 1 the lock's value  2 message key prefix  3 reason
--      then for each delivery: lane number, id, number, version (as the audit knows them), event (JSON),
--      mode: `w` runs or waits for its retry: only where Redis holds it (`sift` is for what waits in the list)
--            `x` it had failed, or is known to be lost: only where Redis does not hold it
-- →    one per delivery: 1 done, 0 it is not as `mode` says, 2 done, and a request of it was under way; { -1 } when the lock was lost
--
-- With its state goes the fence: the request under way ends as a stale one, audited, without changing anything.
local lock, remaining, audit, parts = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local prefix, reason = ARGV[2], ARGV[3]
local wrong = mistyped(1, { 'string', 'hash', 'stream', 'list' })
for k = 5, #KEYS, 8 do wrong = wrong or mistyped(k, LANE) end
if wrong then return redis.error_reply(wrong) end
if redis.call('GET', lock) ~= ARGV[1] then return { -1 } end
local now = clock()
allow_when_full(remaining)

-- The whole list was walked through just before; what a stopping worker gave back since lies at its head.
local FRONT = 1000
local handed_out = {}
for _, part in ipairs(redis.call('LRANGE', parts, 0, -1)) do handed_out[string.match(part, '^[^\31]+')] = true end
local answer = {}
for at = 4, #ARGV, 6 do
  local k = 5 + (tonumber(ARGV[at]) - 1) * 8
  local id, number, version, event, mode = ARGV[at + 1], tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3]), ARGV[at + 4], ARGV[at + 5]
  local in_flight, deliveries, retries, failed, front = KEYS[k + 1], KEYS[k + 2], KEYS[k + 3], KEYS[k + 4], head(KEYS[k + 7], KEYS[k])
  local _, held_number, _, held_version, fence = read_state(deliveries, id)
  local running = redis.call('ZSCORE', in_flight, id)
  local code = 0
  if mode == 'w' then
    if running or redis.call('ZREM', retries, id) == 1 then
      redis.call('ZREM', in_flight, id)
      redis.call('HDEL', deliveries, id)
      release_body(remaining, prefix, id)
      code = running and 2 or 1
    end
  elseif not running and not handed_out[id] and redis.call('HEXISTS', deliveries, id) == 0 and not (redis.call('EXISTS', prefix .. id) == 1 and redis.call('LPOS', front, id, 'MAXLEN', FRONT)) then
    redis.call('ZREM', failed, id)
    code = 1
  end
  if code > 0 then
    local changed, last = next_version(math.max(version, held_version), now, fence), math.max(number, held_number)
    tell(audit, 's', now, event, state_text('descartada', changed, last, nil, reason))
  end
  answer[#answer + 1] = code
end
return answer
