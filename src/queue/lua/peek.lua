-- peek: the beginning of some entries of a list, however large they are.
-- KEYS 1 LIST   ARGV 1 first index  2 last index  3 bytes of each at most
-- →    for each: its size, its beginning
local answer = {}
for _, raw in ipairs(redis.call('LRANGE', KEYS[1], ARGV[1], ARGV[2])) do
  answer[#answer + 1], answer[#answer + 2] = #raw, string.sub(raw, 1, tonumber(ARGV[3]))
end
return answer
