-- refile: take one entry out of a list, and put it into another.
-- KEYS 1 LIST it lies in   2 LIST it goes to, at the end where new ones come in
-- ARGV 1 the entry, whole  2 `1`: it goes there; `0`: it goes nowhere
-- →    1, 0 where it does not lie there any more
local wrong = mistyped(1, { 'list', 'list' })
if wrong then return redis.error_reply(wrong) end
if redis.call('LREM', KEYS[1], 1, ARGV[1]) == 0 then return 0 end
if ARGV[2] == '1' then redis.call('LPUSH', KEYS[2], ARGV[1]) end
return 1
