-- hurry: deliveries that wait for their retry are due now, audited; their attempts go on counting.
-- KEYS 1 maintenance lock  2 audit STREAM   then two for each lane: deliveries, retries
-- ARGV 1 the lock's value  2 reason   then for each delivery: lane number, id, event (JSON)
-- →    one per delivery: 1 done, 0 it does not wait for a retry; { -1 } when the lock was lost
local lock, audit, reason = KEYS[1], KEYS[2], ARGV[2]
local wrong = mistyped(1, { 'string', 'stream' })
for k = 3, #KEYS, 2 do wrong = wrong or mistyped(k, { 'hash', 'zset' }) end
if wrong then return redis.error_reply(wrong) end
if redis.call('GET', lock) ~= ARGV[1] then return { -1 } end
local now = clock()
local answer = {}
for at = 3, #ARGV, 3 do
  local k, id, event = 3 + (tonumber(ARGV[at]) - 1) * 2, ARGV[at + 1], ARGV[at + 2]
  local deliveries, retries = KEYS[k], KEYS[k + 1]
  local code = 0
  if redis.call('ZSCORE', retries, id) then
    local made, number, expiries, version, fence = read_state(deliveries, id)
    version = next_version(version, now)
    write_state(deliveries, id, made, number, expiries, version, fence)
    redis.call('ZADD', retries, 'XX', now, id)
    tell(audit, 's', now, event, state_text('reintentando', version, number, now, reason))
    code = 1
  end
  answer[#answer + 1] = code
end
return answer
