-- KEYS[1] the leases; ARGV: instance, what the lease must say, load, what it is to say.
local standing = redis.call('HGET', KEYS[1], ARGV[1])
if standing and string.match(standing, '^%d+ %d+ %d+ (.*)$') == ARGV[2] then
  local deadline = string.format('%.0f', now)
  redis.call('HSET', KEYS[1], ARGV[1], deadline .. ' ' .. ARGV[3] .. ' ' .. ARGV[4])
  return 1
end
return 0
