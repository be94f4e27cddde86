-- action: tell the audit that a person does something, or has done it.
-- KEYS 1 audit STREAM
-- ARGV 1 the event (JSON)
-- →    1
local wrong = mistyped(1, { 'stream' })
if wrong then return redis.error_reply(wrong) end
tell(KEYS[1], 'o', clock(), ARGV[1], '')
return 1
