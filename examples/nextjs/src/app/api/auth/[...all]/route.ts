import { toNextJsHandler } from "better-auth/next-js";
import { answerAuth } from "@/lib/auth-routes";

export const { GET, POST } = toNextJsHandler(answerAuth);
