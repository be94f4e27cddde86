-- forget_consumer: remove a dead worker from the audit stream's group, unless it holds entries.
-- KEYS 1 audit STREAM   ARGV 1 group   2 the worker
-- →    1 removed, 0 it has read something meanwhile: it is not so dead, and what it holds must not be forgotten with it
if #redis.call('XPENDING', KEYS[1], ARGV[1], '-', '+', 1, ARGV[2]) > 0 then return 0 end
redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], ARGV[2])
return 1
