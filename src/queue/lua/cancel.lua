-- cancel: give up a message whose demora runs, for every listener that would get it, audited.
-- KEYS 1 maintenance lock  2 delayed ZSET  3 audit STREAM
-- ARGV 1 the lock's value  2 message key prefix  3 id  4 event of the dispatch (JSON)  5 reason  6… state event (JSON) of each listener
-- →    1 done, 0 it does not wait any more, -1 the lock was lost
--
-- Told as if it had been dispatched and then discarded, so that it can be sent again.
local lock, delayed, audit = KEYS[1], KEYS[2], KEYS[3]
local key, id = ARGV[2] .. ARGV[3], ARGV[3]
local wrong = mistyped(1, { 'string', 'zset', 'stream' })
if wrong then return redis.error_reply(wrong) end
if redis.call('GET', lock) ~= ARGV[1] then return -1 end
local raw = redis.call('ZSCORE', delayed, id) and redis.call('GET', key)
if not raw then return 0 end
local now = clock()
redis.call('ZREM', delayed, id)
tell(audit, 'm', now, ARGV[4], '', raw)
for i = 6, #ARGV do
  tell(audit, 's', now, ARGV[i], state_text('descartada', now, 0, nil, ARGV[5]))
end
redis.call('UNLINK', key)
return 1
