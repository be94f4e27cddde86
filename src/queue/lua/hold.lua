-- hold: keep, or give back, the lock of the maintenance commands.
-- KEYS 1 maintenance lock   ARGV 1 the holder's value   2 its new life, ms (0 = give it back)
-- →    1 done, 0 it is no longer ours
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
if ARGV[2] == '0' then return redis.call('DEL', KEYS[1]) end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
