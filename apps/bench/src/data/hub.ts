import { join } from "node:path";
import { fileDownloadInfo } from "@huggingface/hub";
import { download, type RemoteFile } from "./download.ts";
import type { Source } from "./fetch.ts";

/** A file of a model on the Hugging Face hub. */
export interface HubFile extends Omit<RemoteFile, "url"> {
  readonly repo: string;
  /** A commit. */
  readonly revision: string;
  /** Inside the repository. */
  readonly path: string;
  /** Default: https://huggingface.co. */
  readonly hub?: string;
}

/** A file on the Hugging Face hub as a place that it comes from. */
export function fromHub({ repo, revision, path, hub, ...remote }: HubFile): Source {
  return {
    name: `${hub ?? "https://huggingface.co"}/${repo}`,
    async bring(folder, progress, signal) {
      const late = AbortSignal.timeout(remote.timeout);
      const within = signal === undefined ? late : AbortSignal.any([late, signal]);
      const found = await fileDownloadInfo({
        ...{ repo, revision, path },
        ...(hub === undefined ? {} : { hubUrl: hub }),
        fetch: (input, init) => fetch(input, { ...init, signal: within }),
      }).catch((error: Error) => {
        const cause = error.cause as NodeJS.ErrnoException | undefined;
        throw new Error(late.aborted ? `no answer for ${remote.timeout / 1000} s` : (cause?.code ?? error.message));
      });
      if (found === null) throw new Error(`no ${path} there`);
      return download({ ...remote, url: found.url }, join(folder, path), progress, signal);
    },
  };
}
