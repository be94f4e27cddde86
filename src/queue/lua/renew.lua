-- renew: lengthen the leases of the deliveries that a worker is still busy with.
-- KEYS two for each lane: in flight ZSET, deliveries HASH
-- ARGV 1 lease, ms   then for each delivery: lane number, id, fence
-- →    one per delivery: 1 renewed, 0 lost (another worker has it, or it was settled): its request is to be aborted
local duration = tonumber(ARGV[1])
local now = clock()
allow_when_full(KEYS[2])
local answer = {}
for at = 2, #ARGV, 3 do
  local lane, id, fence = tonumber(ARGV[at]) * 2, ARGV[at + 1], tonumber(ARGV[at + 2])
  local _, _, _, _, held = read_state(KEYS[lane], id)
  local ours = held == fence
  if ours then redis.call('ZADD', KEYS[lane - 1], 'XX', now + duration, id) end
  answer[#answer + 1] = ours and 1 or 0
end
return answer
