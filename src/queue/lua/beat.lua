-- beat: a worker's sign of life. A script, so that it may be given with full memory: a worker that seems dead then loses
-- its audit entries to others, and nobody takes over those of the really dead.
-- KEYS 1 workers HASH   ARGV 1 worker   2 its description (JSON)
allow_when_full(KEYS[1])
return redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
