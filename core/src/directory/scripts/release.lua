-- KEYS[1] the leases; ARGV: instance, what the lease must say.
local standing = redis.call('HGET', KEYS[1], ARGV[1])
if standing and string.match(standing, '^%d+ %d+ %d+ (.*)$') == ARGV[2] then
  return redis.call('HDEL', KEYS[1], ARGV[1])
end
return 0
