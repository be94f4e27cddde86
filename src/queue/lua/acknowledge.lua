-- acknowledge: forget audit events that are safe in the backend.
-- KEYS 1 audit STREAM   ARGV 1 group   2… stream ids, at most 1000 a call
-- →    how many were removed
--
-- Both at once: an entry that is acknowledged but not deleted would stay for good.
local group = table.remove(ARGV, 1)
redis.call('XACK', KEYS[1], group, unpack(ARGV))
return redis.call('XDEL', KEYS[1], unpack(ARGV))
