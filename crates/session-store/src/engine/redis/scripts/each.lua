-- What several callers ask of one script.

-- Calls `act` for each number up to `count`, and answers what each came to. What fails is the failure of one caller only: { 'ERROR',
-- the server's words, without what Redis 6 puts before them }.
local function each(count, act)
  local answers = {}
  for n = 1, count do
    local ok, answer = pcall(act, n)
    if not ok then
      local words = type(answer) == 'table' and answer.err or tostring(answer)
      answer = { 'ERROR', (string.gsub(words, '^@?user_script: ?%d+: %-?', '')) }
    end
    answers[n] = answer
  end
  return answers
end
