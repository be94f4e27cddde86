-- remember: what one worker saw of some listeners joins what all of them saw before.
-- KEYS 1 situation HASH listener → JSON   ARGV two for each listener: its name, what was seen (JSON)
--      members, all times in ms: `exito` newest success, `error` newest failure (an object, its time in `cuando`), `desde` first
--      failure since the worker's newest success, `fallas` failures since it told last, `corte` the breaker's opening (an object;
--      false: it closed)
-- →    nothing
--
-- The newest success and the newest failure count, whoever saw them; the run of failures began with the earliest one after the
-- newest success. What another format says is left as it is.
allow_when_full(KEYS[1])

local function text_or_nil(value)
  return type(value) == 'table' and value or nil
end

for i = 1, #ARGV, 2 do
  local name, seen = ARGV[i], cjson.decode(ARGV[i + 1])
  local read, known = pcall(cjson.decode, redis.call('HGET', KEYS[1], name) or '{"v":1}')
  if read and type(known) == 'table' and known.v == 1 then
    local success = math.max(tonumber(known.exito) or 0, tonumber(seen.exito) or 0)
    local old_error, new_error = text_or_nil(known.error), text_or_nil(seen.error)
    local error = old_error
    if new_error and not (old_error and old_error.cuando >= new_error.cuando) then error = new_error end
    local since
    local function consider(at)
      at = tonumber(at)
      if at and at > success and not (since and since <= at) then since = at end
    end
    consider(known.desde)
    consider(seen.desde)
    consider(error and error.cuando)
    local failures = tonumber(seen.fallas) or 0
    if since and since == tonumber(known.desde) then failures = failures + (tonumber(known.fallas) or 0) end
    known.exito = success > 0 and success or nil
    known.error = error
    known.desde = since
    known.fallas = since and failures or nil
    if seen.corte ~= nil then known.corte = seen.corte or nil end
    redis.call('HSET', KEYS[1], name, cjson.encode(known))
  end
end
