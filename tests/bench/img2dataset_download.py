"""Download with img2dataset and print the seconds; runs in img2dataset's environment.

python img2dataset_download.py URLS OUTPUT PROCESSES THREADS
"""

import sys
import time

if __name__ == "__main__":
    from img2dataset import download

    urls, output, processes, threads = sys.argv[1:]
    started = time.perf_counter()
    download(
        url_list=urls,
        output_folder=output,
        output_format="webdataset",
        resize_mode="no",
        processes_count=int(processes),
        thread_count=int(threads),
        number_sample_per_shard=1000,
        enable_wandb=False,
    )
    print(f"seconds {time.perf_counter() - started}")
