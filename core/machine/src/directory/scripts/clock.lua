-- The server's own clock in milliseconds: no instance's clock decides who is alive.
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
