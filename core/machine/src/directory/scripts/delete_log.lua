-- ARGV: nonce, milliseconds until head and base expire. Answers how many records there were.
local head = standing()
local count = head and redis.call('LLEN', KEYS[2]) or 0
-- Nothing is removed: whoever has read all has missed nothing, also if this is asked a second time.
if head and count == 0 then
  return 0
end
-- It comes first, as it frees memory: a server without any lets the rest of such a script write.
redis.call('DEL', KEYS[2])
local behind_all = head and behind(head, ARGV[1])
if behind_all then
  -- The pushes stay remembered.
  write(behind_all, behind_all, 0, ARGV[2])
else
  redis.call('DEL', KEYS[1], KEYS[3])
end
return count
