-- restore: put deliveries and delayed messages that Redis does not hold into their queues, message by message.
-- KEYS 1 maintenance lock  2 remaining HASH  3 delayed ZSET  4 listeners SET  5 fence counter  6 audit STREAM
--      7 queue of the callback lane   8 its retries   then eight for each lane, as in claim
-- ARGV 1 the lock's value  2 message key prefix  3 number of lanes L  4… their names, L of them
--      then for each message: id, envelope, other unfinished deliveries of it, number of items N, then N times:
--        mode, lane number, due ms, made, number, version, audit event (JSON), reason, callback job ('' = none)
--        modes: `q` lost, waits for its turn   `r` lost, waits for its retry at `due`   `s` lost, but the listener has it
--               `e` had ended, is sent again   `d` delayed message, due at `due` (no lane)
-- →    one per item: 1 done, 0 Redis holds it, 2 its id belongs to a delayed message, 3 it had ended; { -1 } when the lock was lost
--
-- The lock makes sure that nobody else puts ended deliveries back; dispatch and claim go on meanwhile, so whether Redis holds
-- a delivery is asked here. For what was lost `remaining` is counted anew: it may or may not be counted already, and a restoration
-- that was cut short can be repeated. What had ended is not counted, and raises it: how many others there are the audit knows late.
local lock, remaining, delayed, names_seen, fences, audit = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local callbacks, callback_retries = KEYS[7], KEYS[8]
local prefix, lanes = ARGV[2], tonumber(ARGV[3])
local wrong = mistyped(1, { 'string', 'hash', 'zset', 'set', 'string', 'stream' })
for k = 9, #KEYS, 8 do wrong = wrong or mistyped(k, LANE) end
if wrong then return redis.error_reply(wrong) end
if redis.call('GET', lock) ~= ARGV[1] then return { -1 } end
local now = clock()

-- Workers of the time before a FLUSHALL may still hold fences: new ones must never meet them.
local floor = now * 1000
if tonumber(redis.call('GET', fences) or 0) < floor then redis.call('SET', fences, string.format('%d', floor)) end

-- One that was never claimed stands in the list alone. Who is there was read before; only the front is looked at again,
-- where a worker that stops gives its claims back.
local FRONT = 1000

local function is_held(lane, id, present)
  if redis.call('HEXISTS', lane.deliveries, id) == 1 or redis.call('ZSCORE', lane.in_flight, id) or redis.call('ZSCORE', lane.retries, id) then
    return true
  end
  return present and redis.call('LPOS', head(lane.front, lane.queue), id, 'MAXLEN', FRONT) and true or false
end

local at = 4 + lanes
local answer = {}
while at <= #ARGV do
  local id, raw, others, items = ARGV[at], ARGV[at + 1], tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3])
  at = at + 4
  local present = redis.call('EXISTS', prefix .. id) == 1
  local waiting = redis.call('ZSCORE', delayed, id)
  -- No delivery is held without its body: the others are lost too, and counted when their turn comes.
  local held, put, is_lost = present and others or 0, 0, false
  for _ = 1, items do
    local mode, number_of_lane, due, made = ARGV[at], tonumber(ARGV[at + 1]), ARGV[at + 2], tonumber(ARGV[at + 3])
    local number, version, event, reason = tonumber(ARGV[at + 4]), tonumber(ARGV[at + 5]), ARGV[at + 6], ARGV[at + 7]
    local job = ARGV[at + 8]
    at = at + 9
    is_lost = is_lost or mode ~= 'e'
    local code = 1
    if mode == 'd' then
      if present then
        code = 0
      else
        redis.call('SET', prefix .. id, raw)
        redis.call('ZADD', delayed, due, id)
      end
    else
      local k = 9 + (number_of_lane - 1) * 8
      local lane = { queue = KEYS[k], in_flight = KEYS[k + 1], deliveries = KEYS[k + 2], retries = KEYS[k + 3], failed = KEYS[k + 4], front = KEYS[k + 7] }
      if is_held(lane, id, present) then
        code, held = 0, held + 1
      elseif waiting then
        code = 2
      elseif mode ~= 'e' and redis.call('ZSCORE', lane.failed, id) then
        code = 3
      else
        if mode == 's' then
          tell(audit, 's', now, event, state_text('exitosa', next_version(version, now), number, nil, reason))
          if job ~= '' then queue_callback(callbacks, callback_retries, prefix, callback_id(id, ARGV[3 + number_of_lane], next_version(version, now)), job) end
        else
          if mode == 'e' then
            version = next_version(version, now)
            tell(audit, 's', now, event, state_text('pendiente', version, number, nil, reason))
            redis.call('ZREM', lane.failed, id)
          end
          put = put + 1
          if number > 0 or version > 0 then write_state(lane.deliveries, id, made, number, 0, version, 0) end
          if mode == 'r' then redis.call('ZADD', lane.retries, due, id) else redis.call('RPUSH', lane.queue, id) end
          redis.call('SADD', names_seen, ARGV[3 + number_of_lane])
        end
      end
    end
    answer[#answer + 1] = code
  end
  if present and not is_lost then held = tonumber(redis.call('HGET', remaining, id) or 1) end
  if put > 0 then
    if not present then redis.call('SET', prefix .. id, raw) end
    if put + held > 1 then redis.call('HSET', remaining, id, put + held) else redis.call('HDEL', remaining, id) end
  end
end
return answer
