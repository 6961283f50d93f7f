-- KEYS[1] the user's rows; ARGV: connection, instance.
local standing = redis.call('HGET', KEYS[1], ARGV[1])
if standing and string.sub(standing, 1, 17) == ARGV[2] .. ' ' then
  return redis.call('HDEL', KEYS[1], ARGV[1])
end
return 0
