/** A file and what the service has said of it; shared by the cards that compare settings of it. */

import type { Detection, OptionValues } from './api';
import { Picture } from './picture';
import { detect, type Progress, type Upload } from './upload';

export class Source {
  readonly url: string;
  /** The first answer, which has the service's defaults in its options. */
  first: Detection | null = null;
  id: string | null = null;
  picture: Picture | null = null;
  private users = 0;

  constructor(readonly file: File) {
    this.url = URL.createObjectURL(file);
  }

  get name(): string {
    return this.file.name;
  }

  /** Uploads; the result's scores are those of later calls too. */
  detect(options: OptionValues, progress: Progress): Upload<Detection> {
    const upload = detect(this.file, options, progress);
    return { cancel: upload.cancel, result: upload.result.then((answer) => this.take(answer)) };
  }

  private take(answer: Detection): Detection {
    this.first ??= answer;
    this.id = answer.analysis_id ?? null;
    if (this.picture && this.id) this.picture.id = this.id;
    return answer;
  }

  async fetchPicture(): Promise<Picture | null> {
    if (!this.picture && this.id) this.picture = await Picture.fetch(this.id);
    return this.picture;
  }

  hold(): void {
    this.users += 1;
  }

  /** The last one to let go frees the file. */
  release(): void {
    this.users -= 1;
    if (this.users === 0) URL.revokeObjectURL(this.url);
  }
}
