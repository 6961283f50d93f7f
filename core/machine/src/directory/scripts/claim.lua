-- KEYS[1] the leases; ARGV: instance, milliseconds of the lease, load, what the lease says.
-- Answers 1 and the replaced entry, or 0 and the epoch that stands in the way.
local standing = redis.call('HGET', KEYS[1], ARGV[1])
if standing then
  local epoch = string.match(standing, '^%d+ %d+ %d+ ([0-9a-f]+) ')
  if epoch and #epoch == 16 and counted(epoch) and not above(string.sub(ARGV[4], 1, 16), epoch) then
    return {0, epoch}
  end
end
local deadline = string.format('%.0f', now + tonumber(ARGV[2]))
redis.call('HSET', KEYS[1], ARGV[1], deadline .. ' ' .. ARGV[3] .. ' ' .. ARGV[4])
return {1, standing}
