-- release: give claims back that were not started (shutdown, listener gone from the configuration); no attempt is counted.
-- KEYS four for each lane: queue LIST, in flight ZSET, deliveries HASH, front LIST
-- ARGV for each delivery, in the order they were claimed: lane number, id, fence
-- →    how many were given back
--
-- A lane with a key of another type keeps its claims until their lease is over. From the last one on and each to the front, so that they stand in their old order again.
local wrong = {}
for k = 1, #KEYS, 4 do wrong[k + 3] = mistyped(k, { 'list', 'zset', 'hash', 'list' }) end
local count = 0
for at = #ARGV - 2, 1, -3 do
  local lane, id, fence = tonumber(ARGV[at]) * 4, ARGV[at + 1], tonumber(ARGV[at + 2])
  local queue, in_flight, deliveries, front = KEYS[lane - 3], KEYS[lane - 2], KEYS[lane - 1], KEYS[lane]
  local made, number, expiries, version, held = 0, 0, 0, 0, 0
  if not wrong[lane] then
    allow_when_full(deliveries)
    made, number, expiries, version, held = read_state(deliveries, id)
  end
  if held == fence and fence > 0 then
    redis.call('ZREM', in_flight, id)
    if number == 0 and version == 0 and expiries == 0 then
      redis.call('HDEL', deliveries, id)
    else
      write_state(deliveries, id, made, number, expiries, version, 0)
    end
    redis.call('LPUSH', head(front, queue), id)
    count = count + 1
  end
end
return count
