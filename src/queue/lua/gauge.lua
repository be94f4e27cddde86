-- gauge: how full the queues are and what waits longest in them, for estado, the page, /metrics and the health checks. Only reads;
-- the same whatever the queues' length.
-- KEYS 1 inbox LIST  2 invalid LIST  3 dispatching LIST  4 fan-out LIST  5 delayed ZSET  6 audit STREAM
--      7 audit STREAM of the version before  8 callbacks put aside ZSET
--      then eight for each lane, as in claim: queue, in flight, deliveries, retries, failed, breaker, rate, front
-- ARGV 1 message key prefix
-- →    { now, inbox, invalid, dispatching, fan-out, delayed, first due of the delayed ms, audit events, stream id of the first,
--        callbacks put aside }, of the two streams together;
--      then for each lane {} where it has nothing at all, else { waiting, in flight, retries, failed, breaker state, when it lets a
--        trial through, first retry, its due ms, first lease, its end ms, first in line, its version, its no_antes_de, its creado,
--        what is wrong with a key of another type }; '' = none
--
-- A key that somebody made something else of counts as empty: `claim` tells of it, and the other figures are wanted all the same.
local prefix = ARGV[1]

local function ask(nothing, ...)
  local answer = redis.pcall(...)
  if type(answer) == 'table' and answer.err then return nothing end
  return answer or nothing
end

-- How many a ZSET has, its first, and the score of that.
local function first_of(key)
  local count = ask(0, 'ZCARD', key)
  if count == 0 then return 0, '', '' end
  local found = ask({}, 'ZRANGE', key, 0, 0, 'WITHSCORES')
  return count, found[1], found[2]
end

-- When a message that was never claimed might begin to wait: an envelope has it before its `datos`, or at its very end.
local function stamps_of(id)
  local head = ask('', 'GETRANGE', prefix .. id, 0, 1023)
  local datos = string.find(head, ',"datos":', 1, true)
  if datos then head = string.sub(head, 1, datos) end
  local late = string.match(ask('', 'GETRANGE', prefix .. id, -200, -1), '"no_antes_de":"([^"]+)","recibido":%d+}$')
  return late or string.match(head, '"no_antes_de":"([^"]+)"') or '', string.match(head, '"creado":"([^"]+)"') or ''
end

local function lane(k)
  if redis.call('EXISTS', unpack(KEYS, k, k + 7)) == 0 then return {} end
  local queue, in_flight, deliveries, retries, failed, breaker, _, front = unpack(KEYS, k, k + 7)
  local waiting = ask(0, 'LLEN', queue) + ask(0, 'LLEN', front)
  local retrying, retry, due = first_of(retries)
  local running, lease, ends = first_of(in_flight)
  local id, version, not_before, created = '', 0, '', ''
  if waiting > 0 then
    id = ask(false, 'LINDEX', front, 0) or ask('', 'LINDEX', queue, 0)
    _, _, _, version = parse_state(ask(nil, 'HGET', deliveries, id))
    if version == 0 then not_before, created = stamps_of(id) end
  end
  local held = ask({}, 'HMGET', breaker, 'state', 'until')
  return {
    waiting, running, retrying, ask(0, 'ZCARD', failed), held[1] or '', held[2] or '',
    retry, due, lease, ends, id, string.format('%d', version), not_before, created, mistyped(k, LANE) or '',
  }
end

local delayed, _, due = first_of(KEYS[5])
local function first_event(key)
  local entry = ask({}, 'XRANGE', key, '-', '+', 'COUNT', 1)[1]
  return entry and entry[1] or ''
end

local oldest, before = first_event(KEYS[6]), first_event(KEYS[7])
-- The milliseconds before the dash are of one length.
if oldest == '' or (before ~= '' and before < oldest) then oldest = before end
local answer = { {
  clock(), ask(0, 'LLEN', KEYS[1]), ask(0, 'LLEN', KEYS[2]), ask(0, 'LLEN', KEYS[3]), ask(0, 'EXISTS', KEYS[4]), delayed,
  due, ask(0, 'XLEN', KEYS[6]) + ask(0, 'XLEN', KEYS[7]), oldest, ask(0, 'ZCARD', KEYS[8]),
} }
for k = 9, #KEYS, 8 do answer[#answer + 1] = lane(k) end
return answer
