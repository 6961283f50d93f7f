-- KEYS[1] the log's head, base and bytes, KEYS[2] its records, KEYS[3] the pushes that are remembered.
-- A position is 12 bytes: offset and tag. A record is position, push, flags and payload.
-- The server's own clock in microseconds.
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local LAST = 9007199254740991
local HEADER = 29
-- What is too short for a position is older than every record.
local function offset_of(record)
  return #record >= 12 and struct.unpack('>I8', record) or 0
end
local function position_of(record)
  return string.sub(record, 1, 12)
end
-- The position at an offset, nil beyond the last. The nonce is 4 bytes.
local function position(offset, nonce)
  return offset <= LAST and struct.pack('>I8', offset) .. nonce or nil
end
local function behind(last, nonce)
  return position(math.max(offset_of(last) + 1 + struct.unpack('>I4', nonce) % 4096, now), nonce)
end
-- Head, base and bytes; nil if there is no log.
local function standing()
  local meta = redis.call('GET', KEYS[1])
  if meta and #meta == 28 then
    return position_of(meta), string.sub(meta, 13, 24), (struct.unpack('>I4', string.sub(meta, 25)))
  end
end
-- The record of a push that is remembered, and its distance from the end; false if it has given way, nil if the push
-- is not remembered.
local function remembered(push)
  local at = redis.call('LPOS', KEYS[3], push, 'RANK', -1)
  if not at then
    return nil
  end
  -- The record at the same distance from the end, if that is still its own.
  local distance = redis.call('LLEN', KEYS[3]) - at
  local record = redis.call('LINDEX', KEYS[2], -distance)
  if not record or string.sub(record, 13, 28) ~= push then
    return false
  end
  return record, distance
end
-- It comes first of all that is written: a server that refuses writes refuses them here.
local function write(head, base, bytes, millis)
  redis.call('SET', KEYS[1], head .. base .. struct.pack('>I4', bytes), 'PX', millis)
end
local function no_offsets()
  return redis.error_reply(NO_OFFSETS)
end
