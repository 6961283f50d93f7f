-- KEYS[1] rows of a user or of a topic; ARGV: what the row is of, and what it says.
if redis.call('HGET', KEYS[1], ARGV[1]) == ARGV[2] then
  return redis.call('HDEL', KEYS[1], ARGV[1])
end
return 0
