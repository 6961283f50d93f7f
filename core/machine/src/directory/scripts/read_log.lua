-- ARGV: nonce; milliseconds until head and base expire of a log that nobody has written to, and of
-- another one; records and bytes that are answered at most; how many of the last records, or positions,
-- one after the other, or an offset alone.
-- Answers head, base, the position before the records or nothing, the records.
local head, base = standing()
if not head then
  head = position(now, ARGV[1])
  if not head then
    return no_offsets()
  end
  base = head
  write(head, base, 0, ARGV[2])
  redis.call('DEL', KEYS[2], KEYS[3])
else
  local expiry = head == base and ARGV[2] or ARGV[3]
  if redis.call('PTTL', KEYS[1]) * 2 < tonumber(expiry) then
    redis.call('PEXPIRE', KEYS[1], expiry)
  end
end
local count = redis.call('LLEN', KEYS[2])
if count == 0 then
  base = head
end
-- The index behind a position, and that position; nil if it is unknown. Offsets rise within a log; but that a
-- record is the one that was meant is a matter of equality. Of an offset alone the tag is whatever it is.
local function index_behind(wanted)
  local function is_wanted(position)
    return string.sub(position, 1, #wanted) == wanted
  end
  if is_wanted(head) then
    return count, head
  elseif is_wanted(base) then
    return 0, base
  end
  local offset, low, high = struct.unpack('>I8', wanted), 0, count - 1
  while low <= high do
    local middle = math.floor((low + high) / 2)
    local record = redis.call('LINDEX', KEYS[2], middle)
    local found = offset_of(record)
    if found == offset then
      local position = position_of(record)
      if is_wanted(position) then
        return middle + 1, position
      end
      return nil
    elseif found < offset then
      low = middle + 1
    else
      high = middle - 1
    end
  end
end
local first, after
if ARGV[7] == '' then
  first = math.max(count - tonumber(ARGV[6]), 0)
  if first == count then
    after = head
  elseif first == 0 then
    after = base
  else
    after = position_of(redis.call('LINDEX', KEYS[2], first - 1))
  end
else
  for i = 1, #ARGV[7], 12 do
    local wanted = string.sub(ARGV[7], i, i + 11)
    first, after = index_behind(wanted)
    if first then
      break
    end
  end
end
local records = {}
if first and first < count and tonumber(ARGV[4]) > 0 then
  records = redis.call('LRANGE', KEYS[2], first, first + ARGV[4] - 1)
  local bytes = 0
  for i, record in ipairs(records) do
    bytes = bytes + #record - HEADER
    if i > 1 and bytes > tonumber(ARGV[5]) then
      for j = #records, i, -1 do
        records[j] = nil
      end
      break
    end
  end
end
return {head, base, after or false, records}
