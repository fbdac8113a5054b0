import { shortDrills } from "./short-drills.ts";

await shortDrills("llm-exit-init");
