-- release: give claims back that were not started (shutdown, listener gone from the configuration); no attempt is counted.
-- KEYS four for each lane: queue LIST, in flight ZSET, deliveries HASH, front LIST
-- ARGV for each delivery, in the order they were claimed, at most 100: lane number, id, fence
-- →    how many were given back
--
-- A lane with a key of another type keeps its claims until their lease is over. From the last one on and each to the front, so that they stand in their old order again.
local lanes = {}
for at = #ARGV - 2, 1, -3 do
  local lane_number = tonumber(ARGV[at])
  local lane = lanes[lane_number] or { ids = {}, fences = {} }
  lanes[lane_number] = lane
  local n = #lane.ids + 1
  lane.ids[n], lane.fences[n] = ARGV[at + 1], tonumber(ARGV[at + 2])
end
local count = 0
for lane_number, lane in pairs(lanes) do
  local k = lane_number * 4 - 3
  if not mistyped(k, { 'list', 'zset', 'hash', 'list' }) then
    local queue, in_flight, deliveries, front = unpack(KEYS, k, k + 3)
    allow_when_full(deliveries)
    local back, untouched, kept = {}, {}, {}
    for i, state in ipairs(redis.call('HMGET', deliveries, unpack(lane.ids))) do
      local id, fence = lane.ids[i], lane.fences[i]
      local made, number, expiries, version, held = parse_state(state)
      if held == fence and fence > 0 then
        back[#back + 1] = id
        if number == 0 and version == 0 and expiries == 0 then
          untouched[#untouched + 1] = id
        else
          kept[#kept + 1], kept[#kept + 2] = id, state_of(made, number, expiries, version, 0)
        end
      end
    end
    if #back > 0 then
      redis.call('ZREM', in_flight, unpack(back))
      if #untouched > 0 then redis.call('HDEL', deliveries, unpack(untouched)) end
      if #kept > 0 then redis.call('HSET', deliveries, unpack(kept)) end
      redis.call('LPUSH', head(front, queue), unpack(back))
      count = count + #back
    end
  end
end
return count
