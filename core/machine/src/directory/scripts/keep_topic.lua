-- KEYS[1] the user's topics; ARGV: topic, topics of a user at most, which is 0 to end it, milliseconds until
-- they expire.
local most = tonumber(ARGV[2])
if most == 0 then
  redis.call('SREM', KEYS[1], ARGV[1])
  return 1
end
if redis.call('SISMEMBER', KEYS[1], ARGV[1]) == 0 and redis.call('SCARD', KEYS[1]) >= most then
  return 0
end
redis.call('SADD', KEYS[1], ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 1
