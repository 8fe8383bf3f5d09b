-- A number as Redis takes it. Given a number, redis.call writes it as a floating-point one, which
-- takes four times as long.
local function digits(number)
  return string.format('%d', number)
end
