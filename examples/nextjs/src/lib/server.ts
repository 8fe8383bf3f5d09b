// Which of the servers this is.

import { hostname } from "node:os";

export const serverName = process.env.SERVER_NAME ?? `${hostname()}, process ${process.pid}`;
