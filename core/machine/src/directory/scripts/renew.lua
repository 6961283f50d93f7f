-- KEYS[1] the leases; ARGV: instance, what the lease must say, milliseconds of the lease, load,
-- what it is to say.
local standing = redis.call('HGET', KEYS[1], ARGV[1])
if not standing then
  return 0
end
local deadline, says = string.match(standing, '^(%d+) %d+ %d+ (.*)$')
if says ~= ARGV[2] or tonumber(deadline) <= now then
  return 0
end
deadline = string.format('%.0f', now + tonumber(ARGV[3]))
redis.call('HSET', KEYS[1], ARGV[1], deadline .. ' ' .. ARGV[4] .. ' ' .. ARGV[5])
return 1
