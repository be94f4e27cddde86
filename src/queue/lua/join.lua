-- join: make the group of the audit's readers, and the stream, where they are missing.
-- KEYS 1 paused HASH   2 audit STREAM   ARGV 1 group
-- →    nothing
--
-- A script, as XGROUP CREATE is refused with full memory: then the audit is what has to be read for memory to be freed. From
-- the beginning: nothing is skipped.
allow_when_full(KEYS[1])
local made = redis.pcall('XGROUP', 'CREATE', KEYS[2], ARGV[1], '0', 'MKSTREAM')
if made.err and not string.find(made.err, 'BUSYGROUP', 1, true) then return made end
