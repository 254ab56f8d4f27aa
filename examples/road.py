"""The whole road from Python, as the README and the documentation show it; a test runs it."""

import shallowdeep
from shallowdeep import Batches

data = shallowdeep.load_dataset("mnist5k", image_size=32, calibration_fraction=0.3)
train_loader = Batches(data.train, data.preprocessing, 32, shuffle=True)  # or any DataLoader of (images, labels)
held_out_loader = Batches(data.calibration, data.preprocessing, 250)
images, labels = next(iter(Batches(data.test, data.preprocessing, 100, shuffle=True)))

model = shallowdeep.build("resnet20", num_classes=10, image_size=32)  # or any traceable classifier
network = shallowdeep.convert(model, images, recipe="joint")
history = shallowdeep.fit(network, train_loader, recipe="joint", epochs=3)
predictions = shallowdeep.predict_exits(network, held_out_loader)  # logits of every exit
policy = shallowdeep.calibrate(predictions, max_accuracy_loss=0.02)  # when to exit, and what that promises
findings = shallowdeep.analyze(predictions)  # overthinking, confusion, error indicators
network.save("net")  # shallowdeep.load("net", backbone=model)
shallowdeep.export(network, policy, "bundle")
engine = shallowdeep.EarlyExitEngine.from_bundle("bundle")  # runs without torch
answers = engine(images)
print((answers.labels == labels.numpy()).mean(), answers.relative_costs.mean(), findings.cumulative_accuracy)
