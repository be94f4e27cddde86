-- renew: lengthen leases while the worker is busy with them.
-- KEYS two for each lane: in flight ZSET, deliveries HASH
-- ARGV 1 lease, ms   then for each delivery, at most 150: lane number, id, fence
-- →    one per delivery: 1 renewed (or a key of its lane is of another type, and nothing can be told), 0 lost (another worker has it, or it was settled): its request is to be aborted
local lease_end = clock() + tonumber(ARGV[1])
local lanes = {}
for at = 2, #ARGV, 3 do
  local number = tonumber(ARGV[at])
  local lane = lanes[number] or { ids = {}, fences = {}, places = {} }
  lanes[number] = lane
  local n = #lane.ids + 1
  lane.ids[n], lane.fences[n], lane.places[n] = ARGV[at + 1], tonumber(ARGV[at + 2]), (at + 1) / 3
end
local answer = {}
for number, lane in pairs(lanes) do
  local kept = {}
  local wrong = mistyped(number * 2 - 1, { 'zset', 'hash' })
  if not wrong then allow_when_full(KEYS[number * 2]) end
  local states = wrong and {} or redis.call('HMGET', KEYS[number * 2], unpack(lane.ids))
  for i in ipairs(lane.ids) do
    local _, _, _, _, held = parse_state(states[i])
    if wrong then held = lane.fences[i] end
    local ours = held == lane.fences[i]
    if ours then kept[#kept + 1], kept[#kept + 2] = lease_end, lane.ids[i] end
    answer[lane.places[i]] = ours and 1 or 0
  end
  if #kept > 0 and not wrong then redis.call('ZADD', KEYS[number * 2 - 1], 'XX', unpack(kept)) end
end
return answer
