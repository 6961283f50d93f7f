-- KEYS[1] the leases; ARGV: milliseconds that a dead lease is kept.
-- Answers the clock, then id and entry of each lease. A server that refuses writes answers it too.
local found = redis.call('HGETALL', KEYS[1])
local answer = {now}
for i = 1, #found, 2 do
  local deadline = string.match(found[i + 1], '^(%d+) %d+ %d+ ')
  if deadline and tonumber(deadline) + tonumber(ARGV[1]) <= now then
    redis.pcall('HDEL', KEYS[1], found[i])
  else
    answer[#answer + 1] = found[i]
    answer[#answer + 1] = found[i + 1]
  end
end
return answer
