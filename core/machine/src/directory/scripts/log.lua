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
-- It comes first of all that is written: a server that refuses writes refuses them here.
local function write(head, base, bytes, millis)
  redis.call('SET', KEYS[1], head .. base .. struct.pack('>I4', bytes), 'PX', millis)
end
local function no_offsets()
  return redis.error_reply(NO_OFFSETS)
end
