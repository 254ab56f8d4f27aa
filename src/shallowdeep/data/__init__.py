"""From a name or a path to batches: sources, splits, augmentation, loading.

    image           one file -> one array, in training and in prediction (no torch)
    preprocessing   size, mean and std; checkpoints and bundles carry them (no torch at import)
    splits          labels -> seeded, stratified, disjoint indices
    stores          where images lie until they are decoded
    packed_store    the same for the rows of Parquet files
    sources/        names, Parquet, image folders, IDX, Tiny ImageNet, the hub
    decoded         the decoded images that splits share
    image_split     one split: labels at once, images when fetched
    measure         size and normalisation from training images
    load            load_dataset -> DataSplits
    augmentation    crops, flips and colours, a batch at a time
    loading         one epoch of a split as batches

Nothing is imported here, so that prediction can use `image` and `preprocessing` where there is no torch.
"""
