-- pour: put the front of a lane's list back before the rest of it, a slice a call.
-- KEYS 1 queue LIST  2 front LIST  3 deliveries HASH   ARGV 1 at most n
-- →    how many are still in the front
--
-- Its end first, so that the order is the same all the time.
local wrong = mistyped(1, { 'list', 'list', 'hash' })
if wrong then return redis.error_reply(wrong) end
if redis.call('EXISTS', KEYS[2]) == 0 then return 0 end
if redis.call('EXISTS', KEYS[1]) == 0 then
  redis.call('RENAME', KEYS[2], KEYS[1])
  return 0
end
allow_when_full(KEYS[3])
redis.call('LPUSH', KEYS[1], unpack(redis.call('RPOP', KEYS[2], tonumber(ARGV[1]))))
return redis.call('LLEN', KEYS[2])
