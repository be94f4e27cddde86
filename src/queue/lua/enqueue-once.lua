-- enqueue_once: `send --clave`. The same key within its life is enqueued once.
-- KEYS 1 the key's own entry   2 inbox LIST
-- ARGV 1 id   2 envelope   3 life of the key, s
-- →    the id that the key stands for: ours, or the first one's
local first = redis.call('GET', KEYS[1])
if first then return first end
redis.call('LPUSH', KEYS[2], ARGV[2])
redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[3])
return ARGV[1]
