-- recall: a callback that was given up is to run again; its runs go on counting.
-- KEYS 1 failed ZSET of the callback lane   2 its queue   3 its retries   4 its deliveries HASH
-- ARGV 1 message key prefix  2 id  3 the job  4 number of its last run
-- →    1, 0 where it is not among the failed ones any more
local wrong = mistyped(1, { 'zset', 'list', 'zset', 'hash' })
if wrong then return redis.error_reply(wrong) end
if redis.call('ZREM', KEYS[1], ARGV[2]) == 0 then return 0 end
write_state(KEYS[4], ARGV[2], 0, tonumber(ARGV[4]), 0, 0, 0)
queue_callback(KEYS[2], KEYS[3], ARGV[1], ARGV[2], ARGV[3])
return 1
