-- KEYS: the user's rows, the user's topics; ARGV: connection, row, milliseconds until the rows expire, and
-- until the topics do.
-- A standing row that cannot be read is nobody's and gives way.
local standing = redis.call('HGET', KEYS[1], ARGV[1])
if standing and #standing == #ARGV[2] then
  local instance, epoch = string.match(standing, '^([0-9a-f]+) ([0-9a-f]+) [0-9a-f]+$')
  if instance and #instance == 16 and #epoch == 16 and counted(epoch) then
    if instance ~= string.sub(ARGV[2], 1, 16) or above(epoch, string.sub(ARGV[2], 18, 33)) then
      return 0
    end
  end
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
local topics = redis.call('SMEMBERS', KEYS[2])
if #topics == 0 then
  return 1
end
redis.call('PEXPIRE', KEYS[2], ARGV[4])
return topics
