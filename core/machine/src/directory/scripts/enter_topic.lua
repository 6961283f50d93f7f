-- KEYS[1] the instances with members of a topic; ARGV: instance, epoch, milliseconds until they expire.
-- A standing epoch that cannot be read is nobody's and gives way.
local standing = redis.call('HGET', KEYS[1], ARGV[1])
if standing and string.find(standing, '^[0-9a-f]+$') and #standing == 16 and counted(standing)
  and above(standing, ARGV[2]) then
  return 0
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 1
