-- Whether epoch a is above epoch b, both 16 hexadecimal digits. In halves, because a Lua number
-- holds 53 bits; not as texts, because their order depends on the server's locale.
local function above(a, b)
  local a_high, b_high = tonumber(string.sub(a, 1, 8), 16), tonumber(string.sub(b, 1, 8), 16)
  if a_high ~= b_high then
    return a_high > b_high
  end
  return tonumber(string.sub(a, 9), 16) > tonumber(string.sub(b, 9), 16)
end
-- Whether epoch a, 16 hexadecimal digits, is one that an instance can have counted up to: below a
-- quarter of all. What is beyond was written by hand, and stands in nobody's way.
local function counted(a)
  return string.find(a, '^[0-3]') ~= nil
end
