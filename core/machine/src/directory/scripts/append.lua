-- KEYS[4] the user's rows; ARGV: push, flags and payload, nonce; records, bytes and microseconds that
-- are kept at most, milliseconds until the records expire; pushes that are remembered at most,
-- milliseconds until they expire; milliseconds until head and base do.
-- Answers 1 and position, position before, rows for a new record; 2 and the same for one that stands
-- there already; 3, nothing, nothing, rows for one that did.
local head, base, bytes = standing()
local begins = not head
local count = 0
if begins then
  head = position(now, ARGV[3])
  base, bytes = head, 0
else
  local record, distance = remembered(ARGV[1])
  if record == false then
    return {3, false, false, redis.call('HGETALL', KEYS[4])}
  elseif record then
    local before = redis.call('LINDEX', KEYS[2], -distance - 1)
    return {2, position_of(record), before and position_of(before) or base, redis.call('HGETALL', KEYS[4])}
  end
  count = redis.call('LLEN', KEYS[2])
end
local added = head and behind(head, ARGV[3])
if not added then
  return no_offsets()
end
if count == 0 then
  -- The records may have expired as a whole.
  base, bytes = head, 0
end
bytes = bytes + #ARGV[2] - 1
count = count + 1
local removed = 0
while count - removed > 1 do
  local oldest = redis.call('LINDEX', KEYS[2], removed)
  if count - removed <= tonumber(ARGV[4]) and bytes <= tonumber(ARGV[5])
    and now - offset_of(oldest) < tonumber(ARGV[6]) then
    break
  end
  removed = removed + 1
  bytes = bytes - (#oldest - HEADER)
  base = position_of(oldest)
end
write(added, base, bytes, ARGV[10])
if begins then
  redis.call('DEL', KEYS[2], KEYS[3])
end
redis.call('RPUSH', KEYS[2], added .. ARGV[1] .. ARGV[2])
if removed > 0 then
  redis.call('LTRIM', KEYS[2], removed, -1)
end
redis.call('PEXPIRE', KEYS[2], ARGV[7])
if redis.call('RPUSH', KEYS[3], ARGV[1]) > tonumber(ARGV[8]) then
  redis.call('LTRIM', KEYS[3], -ARGV[8], -1)
end
redis.call('PEXPIRE', KEYS[3], ARGV[9])
return {1, added, head, redis.call('HGETALL', KEYS[4])}
