-- ARGV: position; push; milliseconds until head and base expire.
-- Answers 1 if the record of the push stands there, or has given way to others; 0 if not.
if not standing() then
  return 0
end
-- It always writes: since Redis 7.2 WAIT waits for what its own connection has written last, and for nothing if
-- that was nothing.
redis.call('PEXPIRE', KEYS[1], ARGV[3])
local record = remembered(ARGV[2])
if record then
  return position_of(record) == ARGV[1] and 1 or 0
end
return record == false and 1 or 0
